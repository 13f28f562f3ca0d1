"""The papers' experiments: what each computes and draws, and what runs them."""
