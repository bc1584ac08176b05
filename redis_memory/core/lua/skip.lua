-- Use up a number whose change may or may not have arrived, so that it cannot arrive any more.
take('skipped', '')
return {number, 'skipped', '', ''}
