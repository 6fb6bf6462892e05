"""The soak: real clients talk to real server processes while nemeses befall them; then a checker reads the history.

`options` what is asked for · `fleet` the server processes, `nemesis` what befalls them · `stores` and `between` the
store and the Redis behind them, `troubles` and `weather` what befalls those · `tab` one client, `conversation` one user
with several tabs, `talk` what users do · `calm` the end, when everything is well and every tab must come to the head ·
`history` what everybody saw · `checker` the program that judges it, with the laws in `log_laws`, `ack_laws`,
`wire_laws`, `stream_law` and `calm_laws` · `story` why · `run` all of it together · `broken` servers that must be
caught.
"""
