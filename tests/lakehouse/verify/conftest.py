"""Small lakes on a folder and on S3, with places for their backups."""

from tests.lakehouse.backup.conftest import place  # noqa: F401 - a fixture
from tests.lakehouse.releases.conftest import publisher  # noqa: F401 - a fixture
