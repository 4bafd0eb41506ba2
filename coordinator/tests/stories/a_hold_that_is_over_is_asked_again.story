# What is held for less time than the answers took is asked for again
txn t1: 1 alice =1

> wait 60 ms
> read as call 1: 1 alice, 2 bob
< s1 to 1: read: alice
< s1 to 2: read: bob
> s1 from 1: rows in epoch 1 at 9: alice = 7 @9
> s1 from 2: rows in epoch 1 at 3: bob = 5 @1
< s1 to 1: confirm epoch 1 since 9 try 0: alice
< s1 to 2: confirm epoch 1 since 3 try 0: bob
> s1 from 2: try 0 changed
< s1 to 1: read: alice
< s1 to 2: read: bob
> s1 from 1: rows in epoch 1 at 9: alice = 7 @9
> s1 from 2: rows in epoch 1 at 4: bob = 5 @2
< s1 to 1: confirm epoch 1 since 9 try 1: alice
< s1 to 2: confirm epoch 1 since 4 try 1: bob
> s1 from 2: try 1 changed
< s1 to 1: read: alice
< s1 to 2: read: bob
> s1 from 1: rows in epoch 1 at 9: alice = 7 @9
> s1 from 2: rows in epoch 1 at 5: bob = 5 @3
< s1 to 1: confirm epoch 1 since 9 try 2: alice
< s1 to 2: confirm epoch 1 since 5 try 2: bob
> s1 from 2: try 2 changed
< s1 to 1: hold try 3: alice
< s1 to 2: hold try 3: bob
> s1 from 1: try 3 held for 10 ms: alice = 7 @9
> wait 20 ms
> s1 from 2: try 3 held for 100 ms: bob = 5 @4
< s1 to 1: hold try 4: alice
< s1 to 2: hold try 4: bob
> s1 from 1: try 4 held for 10 ms: alice = 7 @9
> wait 60 ms
< s1 to 1: hold try 5: alice
< s1 to 2: hold try 5: bob
> s1 from 1: try 5 held for 20 ms: alice = 7 @9
> s1 from 2: try 4 held for 100 ms: bob = 5 @4
> s1 from 2: try 5 held for 100 ms: bob = 5 @5
< s1 to 1: release try 5
< s1 to 2: release try 5
< call 1: alice = 7 @9, bob = 5 @5
