"""Write the statements as they are now: python -m tests.store.jobs.golden"""

from tests.store.jobs.golden.recorded import FOLDER, texts

for name, text in texts().items():
    (FOLDER / f"{name}.sql").write_text(text, encoding="utf-8")
