"""Downloads a repository with the hub's Python client. Prints the SHA-256 of its files and the metadata of its card."""
import hashlib
import json
import pathlib
import sys

from huggingface_hub import ModelCard, snapshot_download

folder = pathlib.Path(snapshot_download(sys.argv[1]))
card = ModelCard.load(folder / "README.md")
print(json.dumps({
    "files": {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
              for path in folder.rglob("*") if path.is_file()},
    "card": card.data.to_dict(),
}))
