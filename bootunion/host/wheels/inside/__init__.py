"""Programs that run in the interpreter that is asked (3.8 or newer); never imported."""
