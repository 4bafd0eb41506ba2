# A read that something wrote into is tried again, three times; then it holds
txn t1: 1 alice =1

> read as call 1: 1 alice, 2 bob
< s1 to 1: read: alice
< s1 to 2: read: bob
> s1 from 1: rows in epoch 1 at 9: alice = 7 @9
> s1 from 2: rows in epoch 1 at 3: bob = 5 @1
< s1 to 1: confirm epoch 1 since 9 try 0: alice
< s1 to 2: confirm epoch 1 since 3 try 0: bob
> s1 from 2: try 0 unchanged
> s1 from 1: try 0 changed
< s1 to 1: read: alice
< s1 to 2: read: bob
> s1 from 1: rows in epoch 1 at 10: alice = 8 @17
> s1 from 2: rows in epoch 1 at 3: bob = 5 @1
< s1 to 1: confirm epoch 1 since 10 try 1: alice
< s1 to 2: confirm epoch 1 since 3 try 1: bob
# An old confirmation is of rows that are no longer held.
> s1 from 1: try 0 unchanged
> s1 from 2: try 0 unchanged
> s1 from 1: try 1 changed
< s1 to 1: read: alice
< s1 to 2: read: bob
> s1 from 1: rows in epoch 1 at 11: alice = 9 @25
> s1 from 2: rows in epoch 1 at 3: bob = 5 @1
< s1 to 1: confirm epoch 1 since 11 try 2: alice
< s1 to 2: confirm epoch 1 since 3 try 2: bob
> s1 from 2: try 2 changed
< s1 to 1: hold try 3: alice
< s1 to 2: hold try 3: bob
# An answer of round one that comes late is not what is held.
> s1 from 1: rows in epoch 1 at 11: alice = 9 @25
> s1 from 1: try 3 held for 100 ms: alice = 1 @33
> s1 from 2: try 2 held for 100 ms: bob = 5 @1
> s1 from 2: try 3 held for 100 ms: bob = 6 @9
< s1 to 1: release try 3
< s1 to 2: release try 3
< call 1: alice = 1 @33, bob = 6 @9
