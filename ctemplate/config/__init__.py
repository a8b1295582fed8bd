"""The operator's options and files as frozen values. Knows nothing of what is done with them."""
