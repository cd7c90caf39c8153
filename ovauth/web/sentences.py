"""What other rooms say and pages translate when they show it: `errors`, `rules`, `flows` and `conf` know no Django.

Nothing reads this list but makemessages; a test compares it with what those rooms say.
"""

from django.utils.translation import gettext_noop as _

SENTENCES = (
    # ovauth.conf: scopes
    _("use its tools as you"),
    _("read and write files through its tools"),
    _("use its administrative tools"),
    # ovauth.roles
    _("user"),
    _("admin"),
    _("root"),
    # ovauth.errors
    _("The request is not valid."),
    _("Send an API key, or sign in."),
    _("This is not allowed."),
    _("There is nothing here."),
    _("This method is not allowed here."),
    _("This was already decided."),
    _("This request has expired."),
    _("The request took too long to arrive."),
    _("The request is too large."),
    _("The content type is not supported here."),
    _("Too many attempts. Try again later."),
    _("The service cannot do this right now. Try again in a moment."),
    # ovauth.wire and ovauth.rules.origin
    _("pending is missing."),
    _("pending was sent more than once."),
    _("A parameter contains a NUL character."),
    _("Send the body as application/x-www-form-urlencoded."),
    _("Send the body in UTF-8."),
    _("The request came by an unknown scheme."),
    _("The Host header is missing or not valid."),
    # ovauth.web
    _("The address or a header cannot be read."),
    _("OAuth is switched off here."),
    _("The query contains a NUL character."),
    _("This form has expired. Go back, reload the page and try again."),
    _("The form was not complete."),
    _("Tick the box if you are certain, or choose Deny."),
    _("The app's link names two apps or two addresses."),
    _("Sign in first, or give a one-time password."),
    _("The administration is for the role root."),
    _("Something went wrong on our side."),
    _("Sign in first."),
    # ovauth.flows
    _("Leave at least one of the permissions ticked, or choose Deny."),
    _("This app is blocked, since its request was not started by anybody here. The operator can unblock it."),
    _("The app did not say which app it is."),
    _("This app is not known here."),
    _("An operator has blocked this app."),
    _("The app asked to be answered at an address that it has not registered."),
    _("This link was used already, or has expired."),
    _("What this app says about itself cannot be read."),
    _("What this app says about itself could not be used a moment ago. Try again in half a minute."),
    _("Apps of this host are not admitted here."),
    _("This request is not known here."),
    _("Open this in the browser where you started."),
    _("This request is completed."),
    _("This request is unknown or has expired."),
    _("This request was already approved."),
    _("This request was already denied."),
    _("No request is waiting for this code. Codes last ten minutes."),
    _("Your role does not allow any of what this app asks for."),
    _("This one-time password is wrong, used or expired."),
    _("This API key or one-time password is wrong, used or expired."),
    _("This connection had ended already."),
    _("This user is deactivated."),
    _("This API key is no longer valid."),
    _("The password has changed. Sign in again."),
)
