"""gFID: FID, Inception Score, precision and recall of class-conditional pictures."""
