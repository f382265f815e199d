#!/bin/sh
# cached.sh CCACHE COMPILER ARGUMENTS...: compiles by way of ccache, but for precompiled headers. Their text begins with an include of
# themselves: where one is there from before, ccache sees that instead of the headers, and may answer with one of other headers.
cache=$1
shift
case " $* " in
  *" c++-header "*) exec "$@" ;;
esac
# Without this, files with a precompiled header are not cached.
export CCACHE_SLOPPINESS=pch_defines,time_macros
exec "$cache" "$@"
