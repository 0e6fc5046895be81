"""All networks that have a name: plain data, so that a list of them never waits for torch."""

from cnnkit.models.entry import ModelEntry
from cnnkit.models.own_entries import OWN_ENTRIES
from cnnkit.models.torchvision_entries import TORCHVISION_ENTRIES
from cnnkit.registry import Catalogue

MODELS: Catalogue[ModelEntry] = Catalogue("model", (*OWN_ENTRIES, *TORCHVISION_ENTRIES))
