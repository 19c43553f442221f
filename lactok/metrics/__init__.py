"""The metrics, one file each: a declaration and a function, found by name; see `lactok.metrics.registry`."""

ORDER = (
    "psnr",
    "ssim",
    "ms_ssim",
    "lpips",
    "rfid",
    "kid",
)  # the order of columns in tables; other metrics follow by name
