"""The local server and the one trial page that all web runtimes share."""
