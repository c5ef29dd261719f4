"""The operations of the account, and the common jobs, as tools of the Model Context Protocol.

`ports` is what is asked of a connector, `shapes` flattens an operation's input, `tools` and `desk` make the tools,
`access` says who may use which, `answers` and `failures` word what comes back, `server` speaks the protocol. Only
`server` imports the protocol's SDK, and whoever needs it loads it when the first call comes: that takes a second.
"""
