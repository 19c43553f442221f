"""Networks, quantizers and samplers, a file for each family, and beside them the conversion of published weights."""
