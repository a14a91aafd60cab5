//! Who somebody is: passwords, tokens, login sessions.
