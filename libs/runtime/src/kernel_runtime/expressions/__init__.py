"""CEL where a value may be computed: `errors` (the only error), `engine` (one expression), `template` (values with them inside).

`cel_expr_python` is behind `engine` alone.
"""
