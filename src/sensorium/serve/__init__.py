"""A trained model over HTTP, with a page; and the page that shows a training while it goes on."""
