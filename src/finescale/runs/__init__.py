"""One run, from its specification to the fields of its record. Torch begins here."""
