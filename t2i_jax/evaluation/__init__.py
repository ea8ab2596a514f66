"""How good the pictures are: feature networks, distances between sets of pictures, and the card that reports them."""
