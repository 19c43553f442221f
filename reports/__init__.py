"""Tables, figures and the page, from stored results; the script `lactok`."""
