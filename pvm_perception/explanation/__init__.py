"""Why there is a box, or none: the facts of one frame, and a page that shows them."""
