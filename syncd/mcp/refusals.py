"""What a session may not do, as failures that say what to do instead, or who can change it."""

from syncd.errors import Forbidden

NO_MAIL = (
    "Nothing was sent. Add an internal note instead (channel internal-note, from_agent true, public false), or import "
    "what was sent elsewhere by giving sent_datetime. Only a person can allow mail: access admin, or allow_send = true "
    "in the configuration."
)


class Closed(Forbidden):
    """The tool exists, and this session may not use it."""

    next_step = "Nothing was sent. Do not try another way: tell the user, who can start a session with more access."


class MailRefused(Forbidden):
    """The call would mail a customer, and this session may not."""

    next_step = NO_MAIL
