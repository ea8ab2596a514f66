"""`python -m t2i_jax` is `t2i`."""

from t2i_jax.cli import main

if __name__ == "__main__":
    main()
