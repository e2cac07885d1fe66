"""What can be rented, for how much: asked, told to the fleet, put into plans."""
