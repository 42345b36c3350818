"""How the catalogue's schema came about, a step a file, run before anything is served."""
