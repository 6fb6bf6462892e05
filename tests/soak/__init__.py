"""The soak: real clients talk to real server processes while a nemesis kills them; then a checker reads the history.

`options` what is asked for · `fleet` the server processes · `nemesis` what befalls them · `tab` one client ·
`conversation` one user with several tabs · `history` what everybody saw · `checker` the program that judges it, with
the laws in `log_laws` and `wire_laws` · `story` why · `run` all of it together · `broken` servers that must be caught.
"""
