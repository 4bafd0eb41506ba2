# A participant may know the outcome already: the transaction was submitted before
txn t1: 1 alice -5; 2 bob +5
txn t2: 1 carol -5; 2 dave +5

> submit t1 as call 1
< s1 to 1: prepare t1 #1 in epoch 1 with the whole
< s1 to 2: prepare t1 #1 in epoch 1
> s1 from 2: t1 #1 committed at @8 by 1.3
< call 1: committed at @8, home 1 logged it as 0.0
> submit t2 as call 2 applied
< s2 to 1: prepare t2 #1 in epoch 1 with the whole
< s2 to 2: prepare t2 #1 in epoch 1
> s2 from 1: t2 #1 committed at @8 by 1.3
< s2 to 1: await t2
< s2 to 2: await t2
> s2 from 1: t2 applied
> s2 from 2: t2 applied
< call 2: committed at @8, home 1 logged it as 1.0, applied
