#!/bin/bash
# The usual answer: X sets the execute bit on folders, and on every file that 777 made a program.
cat > /app/tidy-modes <<'SH'
#!/bin/bash
chmod -R u=rwX,g=rX,o= "$1"
find "$1" -type d -name public -exec chmod -R u=rwX,go=rX {} +
find "$1" -type d -name shared -exec chmod -R ug=rwX,o= {} +
find "$1" -type d -name shared -exec find {} -type d -exec chmod g+s {} + \;
find "$1" -type d -name secrets -exec chmod -R u=rwX,go= {} +
SH
chmod 755 /app/tidy-modes
