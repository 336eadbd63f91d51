"""What the public face answers, as the documentation tells it. What it takes are the models of kernel_contracts."""
