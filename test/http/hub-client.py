"""Uses the hub's Python client with the server in HF_ENDPOINT, and prints what it returns as JSON."""
import hashlib
import json
import os

from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

api = HfApi()
repo = "ada/shapes"


def error_of(action):
    try:
        action()
    except Exception as error:
        return [kind.__name__ for kind in (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError) if isinstance(error, kind)]
    return []


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


info = api.model_info(repo, files_metadata=True)
references = api.list_repo_refs(repo)
files = HfFileSystem()
with files.open(f"{repo}/model.onnx") as file:
    start = file.read(10)
    file.seek(5000)
    rest = file.read()

print(json.dumps({
    "info": [info.id, info.sha, info.author, info.card_data.license, info.private],
    "info of a revision": api.model_info(repo, revision="stable").sha,
    "siblings": [[file.rfilename, file.size, file.lfs.sha256] for file in info.siblings],
    "exists": [api.repo_exists(repo), api.repo_exists("ada/none")],
    "revision exists": [api.revision_exists(repo, "stable"), api.revision_exists(repo, "none")],
    "file exists": [api.file_exists(repo, "model.onnx"), api.file_exists(repo, "unet/config.json")],
    "paths": [[path.path, path.size] for path in api.get_paths_info(repo, ["model.onnx", "none"])],
    "one path": [path.last_commit.oid for path in api.get_paths_info(repo, "manifest.json", expand=True)],
    "tree": [[entry.path, entry.lfs.sha256] for entry in api.list_repo_tree(repo, recursive=True, expand=True)],
    "files": api.list_repo_files(repo),
    "references": [[each.name, each.target_commit] for each in references.branches + references.tags],
    "commits": [commit.commit_id for commit in api.list_repo_commits(repo)],
    "models": [model.id for model in api.list_models()],
    "found models": [[model.id for model in api.list_models(search=search, author=author)]
                     for search, author in [("shapes", None), ("nothing", None), (None, "ada"), (None, "eve")]],
    "downloads": [sha256_of(hf_hub_download(repo, "model.onnx", revision=revision)) for revision in [None, "stable", info.sha]],
    "snapshot": sorted(os.listdir(snapshot_download(repo))),
    "snapshot of patterns": os.listdir(snapshot_download(repo, revision="stable", allow_patterns="*.json", local_dir=os.environ["HF_HOME"] + "/local")),
    "ls": files.ls(repo, detail=False),
    "ls of a revision": files.ls(f"{repo}@stable", detail=False),
    "file info": [files.info(f"{repo}/model.onnx")[key] for key in ("type", "size")],
    "folder info": files.info(repo)["type"],
    "file system exists": [files.exists(f"{repo}/model.onnx"), files.exists(f"{repo}/none"), files.exists("ada/none")],
    "glob": files.glob(f"{repo}/*.onnx"),
    "walk": list(files.walk(repo)),
    "opened": [list(start), hashlib.sha256(rest).hexdigest()],
    "errors": {
        "model": error_of(lambda: api.model_info("ada/none")),
        "revision": error_of(lambda: api.model_info(repo, revision="none")),
        "file": error_of(lambda: hf_hub_download(repo, "unet/config.json")),
        "folder": error_of(lambda: list(api.list_repo_tree(repo, "unet"))),
    },
}))
