# An attempt that the home asked for: a no only ends it, the home starts the next itself
txn t1: 1 alice -5; 2 bob +5

> drive t1 #2
< s1 to 1: prepare t1 #2 in epoch 1 with the whole
< s1 to 2: prepare t1 #2 in epoch 1
> s1 from 1: t1 #2 yes at @8
> s1 from 2: t1 #2 no, busy
< s1 to 1: abort t1 #2
< s1 to 2: abort t1 #2
> drive t1 #3
< s2 to 1: prepare t1 #3 in epoch 1 with the whole
< s2 to 2: prepare t1 #3 in epoch 1
> s2 from 1: t1 #3 yes at @80
> s2 from 2: t1 #3 yes at @88
< s2 to 1: commit t1 #3 at @88
< s2 to 2: commit t1 #3 at @88
