"""Tables, figures and the page, from stored results; the commands come with a later version."""
