#!/usr/bin/env bash
# Environments of the rivals that come from PyPI, beside this file. RELION comes from the system: apt install relion.
set -euo pipefail
cd "$(dirname "$0")"
for program in ${*:-aspire cryodrgn}; do
    environment=environments/$program
    [ -e "$environment/installed" ] && continue
    rm -rf "$environment"
    "${PYTHON:-python3}" -m venv "$environment"
    case $program in
        aspire) "$environment/bin/pip" install --quiet aspire==0.14.3 ;;
        cryodrgn) "$environment/bin/pip" install --quiet torch==2.13.0 && "$environment/bin/pip" install --quiet cryodrgn==4.3.1 ;;
    esac
    touch "$environment/installed"
done
