#!/bin/sh
# The command hop with this kit's auth.toml, from any directory: ./hop.sh list-topics kafka://BROKER
# hop reads its settings from $XDG_CONFIG_HOME/hop and refuses them if others can read them. It takes the certificate's
# path relative to the working directory.
set -e
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$here/hop"
ln -sf ../auth.toml "$here/hop/auth.toml"
chmod 600 "$here/auth.toml"
cd "$here"
XDG_CONFIG_HOME=$here exec hop "$@"
