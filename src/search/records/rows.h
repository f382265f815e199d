// Records as rows.
#pragma once

#include "search/records.h"
#include "search/records/sqlite.h"

namespace burnish::search {

// The columns of a trial, with its workload and machine. read_trial reads a row of them, and makes
// it plausible.
extern const char* const select_trials;
Record read_trial(const Statement& row);
// The same without the texts of other tables, which may be torn, and as it stands there.
extern const char* const select_bare_trials;
Record read_bare_trial(const Statement& row, int64_t& machine);

extern const char* const insert_trial;
void bind_trial(Statement& s, const Record& r, int64_t machine);

extern const char* const select_winners;
Winner read_winner(const Statement& row);
extern const char* const insert_winner;
void bind_winner(Statement& s, const Winner& w);

}  // namespace burnish::search
