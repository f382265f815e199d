// The tables, their version, and the way from every older version to this one.
#pragma once

#include "search/records/sqlite.h"

namespace burnish::search {

// Written into the file's header: "Brns". Other programs' databases have another number or none.
constexpr int64_t application_id = 0x42726e73;
constexpr int64_t schema_version = 2;

enum class Content { Empty, Older, Current, Newer, Foreign };
Content content_of(Connection& db);

// Brings an empty or older database to this version, in one transaction. Safe when several
// processes do it at once.
void migrate(Connection& db);
// The same up to a version, as the programs of old did.
void migrate(Connection& db, int64_t to_version);

// The sentence for a database that this program cannot read.
[[noreturn]] void refuse_content(Connection& db, Content content);

}  // namespace burnish::search
