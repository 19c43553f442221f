"""Metrics, a file each: a declaration and a function, found by name as adapters are; see `lactok.metrics.registry`."""

ORDER = ("psnr", "ssim", "lpips", "rfid", "kid")  # of columns; others follow by name
