#!/bin/sh
# The command hop with this kit's auth.toml, from any directory: ./hop.sh list-topics kafka://BROKER
# hop looks for its settings in $XDG_CONFIG_HOME/hop, wants them unreadable for others, and takes a relative path of the
# certificate to begin where it is started.
set -e
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$here/hop"
ln -sf ../auth.toml "$here/hop/auth.toml"
chmod 600 "$here/auth.toml"
cd "$here"
XDG_CONFIG_HOME=$here exec hop "$@"
