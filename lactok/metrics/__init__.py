"""The metrics, one file each: a declaration and a function, found by name; see `lactok.metrics.registry`."""

# the order of columns in tables; other metrics follow by name
ORDER = ("psnr", "ssim", "ms_ssim", "lpips", "dists", "rfid", "rfid_patches", "kid", "fd_dinov2", "cmmd")
