import os
import sys

TEXTS = {
    "excel.txt": "Größe;Preis\r\nklein;3 €\r\n".encode("cp1252"),
    "powershell.txt": "\ufeffRésumé\r\n".encode("utf-16-le"),
    "mac.txt": "cafe\u0301\rdéjà vu\r".encode(),
    "form.txt": "naïve — “quoted”".encode().decode("cp1252", "replace").replace("\ufffd", "\x9d").encode() + b"\nok\n",
    "fine.txt": "Ångström, Ã and Â are letters\n".encode(),
}
os.makedirs(sys.argv[1])
for name, data in TEXTS.items():
    with open(os.path.join(sys.argv[1], name), "wb") as file:
        file.write(data)
