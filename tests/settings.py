"""The settings of the tests: a data folder of their own, nothing from the machine's environment but DATABASE_URL."""

import atexit
import os
import shutil
import tempfile

for name in [name for name in os.environ if name.startswith("OVAUTH_")]:
    del os.environ[name]
os.environ["OVAUTH_DATA_DIR"] = tempfile.mkdtemp(prefix="ovauth-tests-")
atexit.register(shutil.rmtree, os.environ["OVAUTH_DATA_DIR"], ignore_errors=True)

os.mkdir(os.path.join(os.environ["OVAUTH_DATA_DIR"], "static"))  # noqa: PTH102, PTH118 whitenoise warns where it is missing

from ovauth import conf

conf.Config.model_config["env_file"] = None

from project.settings import *  # noqa: E402, F403

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
