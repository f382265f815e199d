// Packing is te's: measuring packs constants, too.
#pragma once

#include "te/pack_constant.h"
