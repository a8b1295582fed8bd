"""The operator's options and files as frozen values. Does not know how they are used."""
