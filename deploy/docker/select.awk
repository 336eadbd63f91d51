# awk -f select.awk NAMES requirements.lock: the entries, hashes included, of the packages that NAMES lists.
NR == FNR { wanted[$1]; next }
/^[A-Za-z0-9]/ { split($1, parts, "=="); keep = parts[1] in wanted }
keep
