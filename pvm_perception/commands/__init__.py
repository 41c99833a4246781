"""One module for each command; `pvm_perception.__main__` lists them."""
