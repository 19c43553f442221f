"""Tables, figures and the page of stored results; and the script `lactok`, which runs every command."""
