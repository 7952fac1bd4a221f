#!/bin/sh
# kcat with this kit's settings, from any directory: ./kcat.sh -L
here=$(cd "$(dirname "$0")" && pwd)
exec kcat -F "$here/librdkafka.properties" -X "ssl.ca.location=$here/ca.pem" "$@"
