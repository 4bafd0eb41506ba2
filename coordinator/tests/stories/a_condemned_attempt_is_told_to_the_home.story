# A permanent reason against a later attempt goes to the home, which alone closes then
txn t1: 1 alice -5; 2 bob -5 if >= 5

> drive t1 #2
< s1 to 1: prepare t1 #2 in epoch 1 with the whole
< s1 to 2: prepare t1 #2 in epoch 1
> s1 from 2: t1 #2 condemned: condition 0 on bob found 4
< s1 to 1: condemn t1 #2: condition 0 on bob found 4
< s1 to 1: abort t1 #2
< s1 to 2: abort t1 #2
