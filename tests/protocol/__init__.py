"""What any host may expect of the server as a process: both protocol eras, errors, endings, over stdio and HTTP."""
